"""Networks: from a row of the catalogue to activations and gradients.

`catalogue` lists them; `weights` finds and fetches the file of one; `network.Network` is one,
loaded; `loaded.Networks` keeps those of a device.
"""
