"""The version of the package; the build, the page's foot and each dream's XMP read it here."""

__version__ = "0.5.0.dev0"
