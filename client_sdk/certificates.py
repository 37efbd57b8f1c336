"""Which certificates a TLS connection trusts, and the wording of TLS errors."""

import os
import ssl

from client_sdk.errors import BadParameter

#: The default file of workers, the SDK and the command line.
CA_FILE_VARIABLE = "PENSTOCK_CA_FILE"


def trusted(ca_file: str = "") -> ssl.SSLContext | bool:
    """Return aiohttp's `ssl` argument: trust only this file's certificates, or the system's.

    Raises BadParameter for a file that cannot be read or has no certificates.
    """
    path = ca_file or os.environ.get(CA_FILE_VARIABLE, "")
    if not path:
        return True
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise BadParameter(
            f"ca_file: expected a file of certificates (PEM), got {path!r}: {why}"
        ) from error


def why_not_trusted(cause: BaseException) -> str:
    """Return what is wrong with a TLS connection, and what to do about it."""
    if not isinstance(cause, ssl.SSLCertVerificationError):
        reason = getattr(cause, "reason", "") or str(cause)
        return f"TLS failed ({reason}): is this an https:// address?"
    if cause.verify_code in _HOST_MISMATCH:
        return f"{cause.verify_message.rstrip('.')}: use the name that the certificate has"
    return (
        f"its certificate is not trusted ({cause.verify_message}): name the file of the CA that "
        f"signed it, or of the certificate itself, with {CA_FILE_VARIABLE}, --ca-file or ca_file="
    )


#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_HOST_MISMATCH = (62, 64)
