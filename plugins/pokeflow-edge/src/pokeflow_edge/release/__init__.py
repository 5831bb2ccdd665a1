"""Releases: bundles that the person responsible for them signs on their own machine."""
