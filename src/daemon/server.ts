import { createServer, type Server } from 'node:http';
import { messageOf, VolbakError } from '../core/errors.ts';

/** Answers to GET, by path. */
export type Routes = Record<string, () => Promise<{ status: number; type: string; body: string }>>;

/** Serves on `host:port`, `[v6]:port`, or a port of this machine alone. Raises CONFIG where that cannot be. */
export async function serve(listen: string, routes: Routes): Promise<Server> {
  const [, host, bracketed, port] = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d+)$/.exec(listen) ?? [];
  if (port === undefined || Number(port) > 65_535)
    throw new VolbakError('CONFIG', `'${listen}' is no address to listen on`, {
      hint: 'host:port, or a port.',
    });
  const server = createServer((request, response) => {
    const route = request.method === 'GET' ? routes[(request.url ?? '').split('?')[0] as string] : undefined;
    const answer = route?.() ?? Promise.resolve({ status: 404, type: 'text/plain', body: 'not found\n' });
    answer
      .catch((error: unknown) => ({ status: 500, type: 'text/plain', body: `${messageOf(error)}\n` }))
      .then(({ status, type, body }) => response.writeHead(status, { 'content-type': type }).end(body));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new VolbakError('CONFIG', `cannot listen on ${listen}: ${error.message}`, { cause: error })),
    );
    server.listen(Number(port), host || bracketed || '127.0.0.1', resolve);
  });
  return server;
}
