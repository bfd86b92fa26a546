import type { Channel, News } from './types.ts';

/** Sends a mail; `smtps://` speaks TLS from the start, `smtp://` uses STARTTLS where it is offered. Raises what stands in the way. */
export async function sendMail(
  { server, from, to, user, password }: Extract<Channel, { kind: 'email' }>,
  { title, text }: News,
): Promise<void> {
  const { createTransport } = await import('nodemailer');
  const { protocol, hostname, port } = new URL(server);
  const secure = protocol === 'smtps:';
  const transport = createTransport({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? (secure ? 465 : 587) : Number(port),
    secure,
    // A password is never sent in the clear.
    requireTLS: password !== undefined && !secure,
    connectionTimeout: 15_000,
    socketTimeout: 15_000,
    ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
  });
  try {
    await transport.sendMail({ from, to: [...to], subject: title, text: `${text}\n` });
  } finally {
    transport.close();
  }
}
