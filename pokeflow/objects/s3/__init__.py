"""Objects in an S3 bucket: imported only where a URI names one, since it loads botocore."""
