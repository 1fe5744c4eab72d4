/** Why a file is no image, as the end of the sentence "Expected an image for … but received". */
export class UnreadableImage extends Error {}
