"""Leave out the packages' own tests, which tests/integration runs where the tutorials install them."""

collect_ignore_glob = ["*"]
