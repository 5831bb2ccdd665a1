"""Addresses of AWS's images: an account per region, under the region's own host names."""

import pytest

from pokeflow_sagemaker.aws import images


@pytest.mark.parametrize(
    ("region", "begins"),
    [
        ("us-east-2", "763104351884.dkr.ecr.us-east-2.amazonaws.com/"),
        ("eu-south-1", "692866216735.dkr.ecr.eu-south-1.amazonaws.com/"),
        ("cn-north-1", "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/"),
    ],
)
def test_an_image_has_an_address_in_every_region(region: str, begins: str) -> None:
    assert [images.address(image, region).startswith(begins) for image in (images.PYTORCH, images.RAY_SERVE)] == [
        True
    ] * 2


def test_custom_image_keeps_its_address() -> None:
    assert images.address("123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1", "us-east-2").startswith("123456789012.")
