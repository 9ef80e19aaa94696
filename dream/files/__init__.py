"""Files: pictures and recipes read with suspicion, written whole, and kept.

`picture` reads and writes; `embedded` puts pictures into recipes; `cache` keeps some.
"""
