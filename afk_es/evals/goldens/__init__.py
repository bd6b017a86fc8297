"""What a golden is: recorded from a log, written, read, kept in a directory and written anew; and how an agent of today is held to it."""
