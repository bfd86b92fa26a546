import { expect, it } from 'vitest';
import { bash, failure, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';

it("a container's volume that holds only its image's own files is said to do so, and replace is the hint", async () => {
  const at = await site();
  const root = await tempDir();
  const image = `${at.name('image')}:latest`;
  await bash(
    `mkdir -p data/sub; echo a >data/a; echo b >data/sub/b
     tar -c . | docker -H ${at.host} import -c 'VOLUME /data' -c 'CMD ["x"]' - ${image}`,
    { cwd: root },
  );
  const container = await at.container('c', image);
  await at.ok('backup', container);
  const volume = await at.docker('inspect', '-f', '{{(index .Mounts 0).Name}}', container);
  const before = await at.docker('volume', 'ls', '-q');

  const refused = await at.run('restore', container, '--into', container);
  expect(refused.exit).toBe(24);
  expect(failure(refused).message).toContain('only what the image');
  expect(failure(refused).hint).toContain('--on-conflict replace');
  expect(await at.docker('volume', 'ls', '-q'), 'looking into the image leaves no volume').toBe(before);

  await at.inside(volume, 'echo mine >a-file-of-somebody');
  const full = await at.run('restore', container, '--into', container);
  expect(full.exit).toBe(24);
  expect(failure(full).message).not.toContain('only what the image');
  await at.docker('rm', '-v', container);
});
