/** The version of this package. A test compares it with the manifest, which a bundler may leave out. */
export const version = "0.1.0"
