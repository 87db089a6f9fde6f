"""What a WSGI server runs: `gunicorn --chdir integrations/label_studio _wsgi:app`."""

from label_studio_ml.api import init_app
from model import TracedgeModel

app = init_app(model_class=TracedgeModel)
