/** Largest raw frame in bytes that a codec must take (format.md: 2 MiB). */
export const MAX_RAW_FRAME = 2 * 1024 * 1024;
