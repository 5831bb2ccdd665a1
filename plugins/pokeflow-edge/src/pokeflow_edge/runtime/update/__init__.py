"""Updates on the device: verify, unpack, self-test, switch to and monitor a signed release; roll back if it fails.

Below the root, such as /opt/pokeflow-edge:

current               a link to the release that is served
releases/<sequence>/  unpacked bundles: the one served, and the last good one before it
release.pub           the public keys that a release may be signed with; never replaced by an update
state.json            the good, the trial and the failed releases
downloads/ staging/   files of an update in progress; they may be removed
venv/                 the Python environment of the service and of updates

It needs only the standard library and ``cryptography``.
"""
