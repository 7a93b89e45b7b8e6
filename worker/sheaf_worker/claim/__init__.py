"""Taking batches from the queue, and keeping the claims on them."""
