import type { Scene } from '../../support/scene.ts';
import { uniqueName } from '../../support/temp.ts';

export { projectRoot, volbak, volbakOk } from '../../support/volbak.ts';

/** A name that the scene cleans up. */
export function uniqueVolume(scene: Scene): string {
  return scene.name(uniqueName('v'));
}
