"""Objects in S3 buckets: a URI ``s3://bucket/prefix`` comes in, an object store of pokeflow goes out.

botocore is loaded with the first request, not with this package.
"""

from pokeflow_s3._bucket import Bucket
from pokeflow_s3._client import Server
from pokeflow_s3._uri import open_bucket

__all__ = ["Bucket", "Server", "open_bucket"]
