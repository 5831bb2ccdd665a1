"""Updates on the device: a signed release is checked, unpacked, tried, switched to, watched, and undone if it fails.

Below the root, such as /opt/pokeflow-edge:

current               a link to the release that is served
releases/<sequence>/  unpacked bundles: the one served, and the last good one before it
release.pub           the public keys that a release may be signed with; never taken from an update
state.json            what is good, what is on trial, what failed
downloads/ staging/   an update under way; whatever is there may be removed
venv/                 the Python that runs it all

The standard library and ``cryptography`` are all that it needs.
"""
