"""The documents of the tree: pure functions of what is published, and how many writers keep them true."""
