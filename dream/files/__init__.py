"""Images, videos and recipes in files: safe reading, atomic writing, and a cache.

`image` reads and writes images, `embedded_images` stores images in recipes, `image_cache` caches.
"""
