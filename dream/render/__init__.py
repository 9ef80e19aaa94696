"""Paint: how a picture climbs. Each kind of picture is one file; the others are what they use."""
