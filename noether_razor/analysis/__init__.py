"""Reading the answer: errors, generators, conservation."""
