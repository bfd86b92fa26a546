import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { type Bench, remove, type Tool } from './tool.ts';

const RUN = 'docker -H "$HOST" run --rm --log-driver none --network none';
const ARCHIVE = 'archive.tar.zst';

function scripts({ host, work, timed }: Bench, name: string) {
  const repository = path.join(work, name);
  return {
    repository,
    fresh: async () => {
      remove(repository);
      mkdirSync(repository);
    },
    sh: (script: string, env: Record<string, string> = {}) =>
      timed('bash', ['-o', 'pipefail', '-c', script], {
        env: { HOST: host, A: path.join(repository, ARCHIVE), D: repository, ...env },
      }),
  };
}

/** tar in a container, its output through zstd on this machine: what scripts do. */
export function tarPiped(bench: Bench): Tool {
  const { repository, fresh, sh } = scripts(bench, 'tar');
  const into = 'zstd -dcq "$A" |';
  return {
    name: 'tar',
    title:
      '`docker run --volumes-from … tar -c | zstd -3 -T0 > file`, `zstd -d | docker run -i … tar -x`, `zstd -d`',
    repository,
    fresh,
    backup: ({ container }) =>
      sh(`${RUN} --volumes-from "$C:ro" toolbox tar -c --numeric-owner -C /data . | zstd -3 -T0 -q >"$A"`, {
        C: container,
      }),
    restore: (_, { volume }) =>
      sh(`${into} ${RUN} -i -v "$V:/data" toolbox tar -x -p --numeric-owner -C /data`, { V: volume }),
    single: (_, { volume }, file) =>
      sh(`${into} ${RUN} -i -v "$V:/data" toolbox tar -x -p --numeric-owner -C /data -- "./$F"`, {
        V: volume,
        F: file,
      }),
    export: (_, file) => sh('zstd -dcq "$A" >"$F"', { F: file }),
  };
}

/** Both in one container, so that the data does not go through the engine: the fastest way there is without a tool. */
export function tarInside(bench: Bench): Tool {
  const { repository, fresh, sh } = scripts(bench, 'tar-inside');
  const script = (mount: string, text: string) =>
    `${RUN} -v "$D:/backup" ${mount} toolbox bash -o pipefail -c '${text}'`;
  return {
    name: 'tar inside',
    title: `\`docker run --volumes-from … -v …:/backup … sh -c 'tar -c | zstd -3 -T0 > /backup/file'\`, back likewise`,
    repository,
    fresh,
    backup: ({ container }) =>
      sh(
        script(
          '--volumes-from "$C:ro"',
          `tar -c --numeric-owner -C /data . | zstd -3 -T0 -q >/backup/${ARCHIVE}`,
        ),
        { C: container },
      ),
    restore: (_, { volume }) =>
      sh(script('-v "$V:/data"', `zstd -dcq /backup/${ARCHIVE} | tar -x -p --numeric-owner -C /data`), {
        V: volume,
      }),
  };
}

/** The line that Docker's documentation gives: not compressed, names listed. */
export function oneLiner(bench: Bench): Tool {
  const { repository, fresh, sh } = scripts(bench, 'one-liner');
  return {
    name: 'one-liner',
    title: '`docker run --rm --volumes-from … -v backup:/backup … tar cvf /backup/backup.tar /data`',
    repository,
    fresh,
    archive: ({ container }, file) =>
      sh(
        'docker -H "$HOST" run --rm --network none --volumes-from "$C" -v "$B:/backup" toolbox tar cvf "/backup/$F" /data >/dev/null 2>&1',
        { C: container, B: path.dirname(file), F: path.basename(file) },
      ),
  };
}
