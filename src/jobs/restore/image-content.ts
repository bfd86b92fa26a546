import { mountEach } from '../../engine/attachment.ts';
import { withImageFiles } from '../../engine/image-files.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import { parseListed } from '../../tar/listing.ts';
import { stripComponents } from '../../tar/names.ts';
import { type TarMember, TarScanner } from '../../tar/scanner.ts';
import type { EngineContext } from '../engine-context.ts';
import { listVolume } from '../read/list.ts';

/** More files than this are hardly an image's own; looking at them would take long. */
const MAX_FILES = 20_000;

/** What is compared of a file: not its times, which Docker's copy keeps only in seconds. */
function trait(type: string, size: number, mode: number): string {
  return `${type} ${type === 'file' ? size : 0} ${mode}`;
}

async function imageTraits(
  ctx: EngineContext,
  image: string,
  path: string,
): Promise<Map<string, string> | undefined> {
  return withImageFiles(ctx.engine, image, path, async (tar) => {
    if (!tar) return undefined;
    const traits = new Map<string, string>();
    const scanner = new TarScanner({
      member({ path: name, type, size, mode }: TarMember) {
        // The archive's names begin with the directory's own: "data/…".
        const inside = stripComponents(name, 1);
        if (inside !== undefined) traits.set(inside, trait(type === 'hardlink' ? 'file' : type, size, mode));
      },
      content() {},
      memberEnd() {},
      end() {},
    });
    for await (const bytes of tar) scanner.push(Buffer.from(bytes));
    return traits;
  });
}

/**
 * True where a container's volume holds just what its image has at the mount path: Docker fills an empty volume from the
 * image, so a container that never ran has a volume that is not empty, and nothing in it is anybody's data.
 */
export async function holdsOnlyImageFiles(
  ctx: EngineContext,
  container: ResolvedSource,
  volume: string,
): Promise<boolean> {
  const destination = container.volumes.find(({ name }) => name === volume)?.destinations[0];
  const image = container.container?.imageId;
  if (destination === undefined || image === undefined) return false;
  const expected = await imageTraits(ctx, image, destination);
  if (!expected) return false;
  const attachment = mountEach([{ name: volume }], true);
  const listing = await listVolume(ctx, attachment, attachment.paths.get(volume) as string);
  if (listing.spool.count - 1 > Math.min(expected.size, MAX_FILES)) return false;
  for (const record of listing.spool.records()) {
    const { path, type, size, mode } = parseListed(record);
    if (path !== '.' && expected.get(path) !== trait(type, size, mode)) return false;
  }
  return true;
}
