"""A real SMTP server with TLS and authentication: smtp-server.py <port> <maildir> <certificate> <key> <implicit|starttls>"""
import asyncio
import ssl
import sys

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

port, maildir, certificate, key, mode = sys.argv[1:]
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(certificate, key)


def authenticate(server, session, envelope, mechanism, data):
    known = isinstance(data, LoginPassword) and data == LoginPassword(b"volbak", b"hunter2")
    print("known" if known else "refused", flush=True)
    return AuthResult(success=known, handled=False)


def serve():
    return SMTP(
        Mailbox(maildir),
        authenticator=authenticate,
        auth_required=True,
        # With TLS from the first byte there is nothing left to start.
        auth_require_tls=mode == "starttls",
        require_starttls=mode == "starttls",
        tls_context=tls if mode == "starttls" else None,
    )


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(serve, "127.0.0.1", int(port), ssl=tls if mode == "implicit" else None)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
