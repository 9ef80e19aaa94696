"""Networks: from an entry of the catalogue to activations and gradients.

`catalogue` lists the networks, `weights` finds or downloads their files, `network.Network` is a
loaded network, and `network_cache.NetworkCache` holds the loaded networks of a device.
"""
