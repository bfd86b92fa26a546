import path from 'node:path';
import { bash } from './site.ts';
import { afterwards, tempDir } from './temp.ts';

/** A real ext4 file system on a loop device whose end can be taken away: what lies there gives I/O errors. */
export interface FailingDisk {
  device: string;
  /** Digest of its content, by recipes/digest.sh. */
  digest: string;
  fail(): Promise<void>;
  mend(): Promise<void>;
}

/** Makes one of 64 MiB with a file `large` of 16 MiB, in the middle of which it will fail, and some small ones. */
export async function failingDisk(): Promise<FailingDisk> {
  const dir = await tempDir('volbak-disk-');
  const image = path.join(dir, 'image');
  const out = await bash(`
    truncate -s 64M '${image}'
    mkfs.ext4 -q -b 4096 -O ^has_journal '${image}'
    mkdir '${dir}/mnt'; mount -o loop '${image}' '${dir}/mnt'
    cd '${dir}/mnt'; mkdir small; for n in $(seq 50); do echo $n >small/$n; done
    head -c 16M /dev/urandom >large; sync -f large; sleep 2.2
    filefrag -v large | awk '$1 ~ /^[0-9]+:$/ { print $4 + 0 }' | head -n 1
    cd /; '${process.cwd()}/recipes/digest.sh' '${dir}/mnt'; umount '${dir}/mnt'
    losetup --find --show '${image}'`);
  const [first = '', digest = '', device = ''] = out.split('\n');
  afterwards(async () => void (await bash(`losetup -d '${device}' || true`)));
  const keptMiB = Math.floor((Number(first) * 4096) / 2 ** 20) + 8;
  return {
    device,
    digest,
    fail: async () => {
      await bash(`cp --sparse=always '${image}' '${image}.whole'; truncate -s ${keptMiB}M '${image}'`);
    },
    mend: async () => {
      await bash(
        `dd if='${image}.whole' of='${image}' bs=1M skip=${keptMiB} seek=${keptMiB} conv=notrunc status=none`,
      );
    },
  };
}
