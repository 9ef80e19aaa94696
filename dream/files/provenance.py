"""Provenance metadata in XMP: a network made this image, as IPTC defines it."""

from __future__ import annotations

# The PNG text key of XMP.
XMP_KEY = "XML:com.adobe.xmp"
IPTC_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FROM_PHOTO, FROM_NOISE = "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"
XMP_TEMPLATE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{source}"/>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def provenance_xmp(photo: bool) -> str:
    """Return XMP that says that a network made the image, from a photo or from noise.

    It uses IPTC's `DigitalSourceType` (https://cv.iptc.org/newscodes/digitalsourcetype/).
    """
    return XMP_TEMPLATE.format(source=IPTC_TERMS + (FROM_PHOTO if photo else FROM_NOISE))
