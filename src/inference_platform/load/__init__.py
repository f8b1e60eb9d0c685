"""What servers did under a load: reading their counters, and what follows from them.  Pure."""
