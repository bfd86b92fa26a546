import type { ByteString } from './bytes.ts';

export type MemberType = 'file' | 'dir' | 'symlink' | 'hardlink' | 'fifo' | 'char' | 'block';

/** What the tar of a volume says of one file; also what an index line holds. */
export interface Member {
  /** "." for the root, else "./a/b", never with a slash at its end. */
  path: ByteString;
  type: MemberType;
  /** Logical size in bytes of a regular file (holes included), else 0. */
  size: number;
  /** Permission bits, setuid, setgid and sticky: 0 to 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** `<seconds>.<nanoseconds, nine digits>` as in struct timespec: -1.5 s is "-2.500000000". */
  mtime: string;
  /** Target of a symlink as stored; of a hard link the path of the first name. */
  link?: ByteString;
  /** "major:minor" of a device. */
  device?: string;
  /** SHA-256 (hex) over the sorted extended attributes, if there are any; see tar/xattrs.ts. */
  xattrs?: string;
}

/** A member as the index keeps it. */
export interface IndexMember extends Member {
  /** From the listing, to see later what changed; absent where there was no listing. */
  ctime?: string;
  ino?: number;
  nlink?: number;
  /** Bytes of the tar that the member covers: its headers, content and padding. */
  span: number;
  /** SHA-256 (hex) of a regular file's logical content. */
  sha256?: string;
  /** True where tar named the member or delivered something else than was listed: never reused unread. */
  suspect?: boolean;
}
