"""What people read: the paper's sentences, the HTML report, exported documents."""
