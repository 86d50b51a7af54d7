"""One push: what is to be done, written once by whatever way the server takes, proved, documented, taken back."""
