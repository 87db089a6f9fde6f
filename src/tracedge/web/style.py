"""How the page looks: a theme whose fonts are the visitor's own, and a little CSS."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradio.themes.base import Base

CSS = """
.gradio-container { max-width: 1280px !important; }
.gradio-container .main.fillable { max-width: 1280px !important; padding: 8px 20px !important; }
footer { display: none !important; }
.html-container { padding: 0 !important; }
#title h1 { font-size: 1.5rem; font-weight: 700; letter-spacing: -.02em; margin: 0; }
#title p { margin: 2px 0 0; color: var(--body-text-color-subdued); }
.line { margin: 2px 0; color: var(--body-text-color); }
.hint { margin: 0; font-size: .85em; color: var(--body-text-color-subdued); }
.note { margin: 4px 0; padding: 10px 14px; border-radius: 8px; background: var(--background-fill-secondary);
        border-left: 3px solid var(--border-color-primary); }
.note.problem { border-left-color: #ff4020; }
.objects { max-height: 470px; overflow-y: auto; }
.objects table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.objects table, .objects table * { border: 0 !important; background: none; }
.objects th { position: sticky; top: 0; text-align: right; font-weight: 500; font-size: .85em; padding: 6px 8px !important;
              color: var(--body-text-color-subdued); background: var(--background-fill-primary) !important; }
.objects td { text-align: right; white-space: nowrap; padding: 5px 8px !important;
              border-top: 1px solid var(--border-color-primary) !important; }
.objects th:first-child, .objects td:first-child { text-align: left; }
.objects i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px; vertical-align: -1px; }
svg.curve { width: 100%; height: auto; color: var(--body-text-color); }
#examples .grid-container, #photos .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; gap: 6px; }
#examples .thumbnail-item, #photos .thumbnail-item { width: 100%; min-width: 0; height: 66px; }
#photos, #photos .grid-wrap { height: auto !important; }
#photos label { position: static; }
#photos .grid-container { grid-auto-rows: 66px; }
#photos .grid-wrap { max-height: 154px; }
#photos .caption-label { padding: 0 4px; font-size: .7em; }
#drop { min-height: 0; }
"""


def theme() -> Base:
    """Plain, and with no font that would have to be fetched."""
    import gradio as gr

    return gr.themes.Default(
        primary_hue="orange",
        neutral_hue="slate",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size="md",
    )
