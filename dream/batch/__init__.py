"""Many pictures: which there are to make, who makes them, and the record that is kept of them."""
