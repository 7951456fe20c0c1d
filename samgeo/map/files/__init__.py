"""Files with accepted objects: the file that a session saves to and reads from, and exports."""
