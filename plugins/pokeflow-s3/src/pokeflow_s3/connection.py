"""Error codes that all AWS services share (credentials, load), and messages for failed connections."""

import re

WHERE = "Credentials are read from the environment, AWS's configuration files and the machine's role."
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
UNKNOWN = (
    *("InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken", "UnrecognizedClientException"),
    *("SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken"),
)
BUSY = (
    *("SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "TooManyRequests"),
    *("TooManyRequestsException", "RequestLimitExceeded", "RequestTimeout", "ServiceUnavailable"),
    *("ServiceUnavailableException", "InternalError", "InternalFailure", "InternalServerError"),
    *("500", "502", "503", "504"),
)
_SENTENCES = {
    "NoCredentialsError": f"no credentials. {WHERE}",
    "PartialCredentialsError": f"the credentials are incomplete. Set both the key id and the secret. {WHERE}",
    "ProfileNotFound": "AWS_PROFILE names a profile that is not in AWS's configuration files. Correct or unset it.",
    "NoRegionError": "no region is set. Set store.region or AWS_REGION.",
    "EndpointConnectionError": "{host} does not respond. Check the network, the region and the endpoint.",
    "ConnectTimeoutError": "{host} does not respond. Check the network, the region and the endpoint.",
    "ProxyConnectionError": "the proxy does not respond. Check HTTPS_PROXY and the network.",
    "SSLError": "this machine does not trust the certificate of {host}. Set AWS_CA_BUNDLE to its CA file.",
    "ReadTimeoutError": "the server stopped responding. Run the same command again.",
    "ResponseParserError": "the response of {host} does not follow AWS's protocol. Check the endpoint.",
}


def explain(error: Exception) -> str:
    """Return a message for a request without a response, with advice and without any part of a credential.

    Args:
        error: Exception of botocore, or of urllib3 below it.

    """
    names = [kind.__name__ for kind in type(error).__mro__]
    for name in names:
        if name in _SENTENCES:
            return _SENTENCES[name].format(host=_host(error))
    if any(word in name for name in names for word in ("Credential", "Token", "SSO")):
        return f"no valid credentials ({names[0]}). {WHERE}"
    return f"the connection was cut ({names[0]}). Run the same command again."


def _host(error: Exception) -> str:
    url = str(getattr(error, "kwargs", {}).get("endpoint_url") or "")
    match = re.match(r"(https?://)(?:[^/@]*@)?([^/?]+)", url)
    return f"{match[1]}{match[2]}" if match else "the endpoint"
