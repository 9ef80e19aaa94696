"""Networks: from a row of the catalogue to activations and gradients.

`catalogue` lists them; `network.Network` is one, loaded; `weights` finds and fetches its file.
"""
