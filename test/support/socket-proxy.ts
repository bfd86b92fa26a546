import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { afterwards } from './temp.ts';

/** Between volbak and an engine, as docker-socket-proxy is: lets sections of the API through, and all methods or only GET. */
export interface SocketProxy {
  url: string;
  /** What was asked for: `GET /containers/*\/json`, ids and names as `*`; refused ones with `403 ` before them. */
  asked: Set<string>;
}

/** `allowed` are first parts of paths: containers, images, volumes, … */
export async function socketProxy(
  engine: string,
  allowed: readonly string[],
  { post = true } = {},
): Promise<SocketProxy> {
  const asked = new Set<string>();
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    open.add(client);
    client.on('error', () => {}).on('close', () => open.delete(client));
    let head = Buffer.alloc(0);
    const onData = (bytes: Buffer) => {
      head = Buffer.concat([head, bytes]);
      if (!head.includes('\r\n\r\n')) return;
      client.off('data', onData).pause();
      const [method = '', target = ''] = head.toString('latin1').split(' ');
      const path = target.replace(/\?.*/, '').replace(/^\/v[\d.]+/, '');
      const ok =
        allowed.includes(path.split('/')[1] ?? '') && (post || method === 'GET' || method === 'HEAD');
      asked.add(`${ok ? '' : '403 '}${method} ${generic(path)}`);
      if (!ok) {
        client.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
        return;
      }
      const upstream = connect({ path: engine.replace('unix://', ''), allowHalfOpen: true });
      upstream.on('error', () => client.destroy());
      client.on('close', () => upstream.destroy());
      upstream.write(head);
      upstream.pipe(client);
      client.pipe(upstream);
    };
    client.on('data', onData);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  afterwards(async () => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { url: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

/** A path with what is a name or an id as `*`. */
function generic(path: string): string {
  const [, section = '', ...rest] = path.split('/');
  const fixed = new Set([
    'json',
    'create',
    'start',
    'stop',
    'wait',
    'attach',
    'archive',
    'pause',
    'unpause',
    'exec',
    'logs',
  ]);
  return `/${[section, ...rest.map((part) => (fixed.has(part) ? part : '*'))].join('/')}`.replace(
    /(\/\*)+/g,
    '/*',
  );
}
