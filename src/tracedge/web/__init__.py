"""The page (`tracedge app`): drop photos, see edges and objects, take the files home.

What is computed and kept knows nothing of gradio (`reading.py` to `desk.py`); `page.py` lays it out, `serve.py` serves it.
"""
