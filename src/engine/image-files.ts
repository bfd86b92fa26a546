import type { EngineConnection } from './connect.ts';
import { engineError, removeLeftover, statusOf } from './helper.ts';
import { HELPER_LABEL, ownerLabels } from './labels.ts';

/**
 * What an image has at a path, as the tar of Docker's archive API; nothing runs. `use` is given undefined where the
 * image has nothing there.
 */
export async function withImageFiles<T>(
  engine: EngineConnection,
  image: string,
  path: string,
  use: (tar: AsyncIterable<Uint8Array> | undefined) => Promise<T>,
): Promise<T> {
  const container = await engine.docker.createContainer({
    Image: image,
    Entrypoint: ['/volbak-never-runs'],
    Cmd: [],
    Labels: { [HELPER_LABEL]: 'image-files', ...ownerLabels(engine) },
    HostConfig: { NetworkMode: 'none', AutoRemove: false },
  });
  try {
    const stream = await container.getArchive({ path }).catch((error: unknown) => {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, `cannot look into image ${image}`);
    });
    return await use(stream as AsyncIterable<Uint8Array> | undefined);
  } finally {
    await removeLeftover(engine, container.id, image);
  }
}
