"""AWS's Deep Learning Containers: the images used by default, and their registry URIs in a region."""

PYTORCH = "{account}.dkr.ecr.{region}.amazonaws.com/pytorch:2.14-cu133-amzn2023-sagemaker"
"""Default image of jobs, for instances with and without GPUs."""
RAY_SERVE = "{account}.dkr.ecr.{region}.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.1"
"""Default image that serves bundles; AWS's successor of the TorchServe image."""
_ACCOUNTS = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
}
"""Registry accounts of the regions where AWS does not publish its images from the usual account."""


def account(region: str) -> str:
    """Return the account that AWS publishes its images from in a region."""
    return _ACCOUNTS.get(region, "763104351884")


def address(image: str, region: str) -> str:
    """Return an image's URI in a region, with AWS's registry account and, in China, the host name used there."""
    uri = image.replace("{account}", account(region)).replace("{region}", region)
    return uri.replace(".amazonaws.com/", ".amazonaws.com.cn/") if region.startswith("cn-") else uri
