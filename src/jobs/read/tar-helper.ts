import type { Attachment } from '../../engine/attachment.ts';
import { type HelperSpec, READ_CAPABILITIES } from '../../engine/helper.ts';
import type { Pipe } from '../../engine/lanes/pipe.ts';
import type { EngineContext } from '../engine-context.ts';
import type { Listing } from './listing.ts';
import { compressedTarScript, holesAreTrusted, PLAIN_TAR_SCRIPT, tarScript } from './scripts.ts';

/** The helper that archives the members of a listing, whose names it gets on standard input, into a lane. */
export function tarHelper(
  ctx: EngineContext,
  purpose: string,
  attachment: Attachment,
  path: string,
  listing: Pick<Listing, 'fsType' | 'plain'>,
  pipe: Pipe | undefined,
  compressed = false,
): HelperSpec {
  return {
    image: ctx.image,
    purpose,
    script: scriptFor(listing, compressed),
    args: [path, pipe?.helperPath ?? ''],
    stdin: true,
    capabilities: READ_CAPABILITIES,
    mounts: [...attachment.mounts, ...(pipe ? [pipe.mount] : [])],
    ...(attachment.volumesFrom === undefined ? {} : { volumesFrom: attachment.volumesFrom }),
  };
}

function scriptFor({ plain, fsType }: Pick<Listing, 'fsType' | 'plain'>, compressed: boolean): string {
  if (plain) return PLAIN_TAR_SCRIPT;
  return compressed ? compressedTarScript(holesAreTrusted(fsType)) : tarScript(holesAreTrusted(fsType));
}
