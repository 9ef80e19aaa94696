"""The tabs of the page, one file each: the only part of the package that knows Gradio."""
