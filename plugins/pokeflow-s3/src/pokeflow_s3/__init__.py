"""Object stores in S3 buckets, opened by a URI ``s3://bucket/prefix``.

botocore is imported with the first request, not with this package.
"""

from pokeflow_s3._bucket import Bucket
from pokeflow_s3._client import Server
from pokeflow_s3._uri import open_bucket

__all__ = ["Bucket", "Server", "open_bucket"]
