// Package identity keeps keys, certificates and the configuration document of an overlay in files (RFC 6940 §11.1, §11.3).
// The commands init and identity make them; run and dev load them. A Keyring is safe for concurrent use, the rest is for
// start-up.
//
// An overlay directory, made once, is the authority and stays with the operator:
//
//	ca.key  ca.crt          the root that certifies every node and user
//	signer.key  signer.crt  the identity that signs the configuration document and its Kinds
//	overlay.xml             the signed configuration document
//
// An identity directory, one per gateway, holds what that gateway needs and no more:
//
//	node.key  node.crt      the gateway's key and its certificate with its Node-ID
//	overlay.xml             a copy of the document
//	users/AOR.crt           for each address-of-record that it serves, a certificate of the same key and Node-ID
//	enrollment.json         the account it was enrolled with, when that was done over the network
//
// Directories have mode 0700, keys 0600. Keys are PKCS #8 and certificates X.509, both PEM.
package identity

// Names in the directories.
const (
	DocumentFile = "overlay.xml"

	turnSecretFile = "turn.secret" // what its TURN servers and their users share, when it uses ICE
	caKeyFile      = "ca.key"
	caCertFile     = "ca.crt"
	signerKeyFile  = "signer.key"
	signerCertFile = "signer.crt"
	nodeKeyFile    = "node.key"
	nodeCertFile   = "node.crt"
	usersDir       = "users"
	enrollmentFile = "enrollment.json"
	certSuffix     = ".crt"
)

// What we set.
const (
	maxFile     = 1 << 20 // octets of a file that is read: the limit of a document
	maxListed   = 65536   // addresses-of-record that a Keyring knows to have a certificate, 50 octets each; for others it looks each time
	maxSigners  = 16384   // of a Keyring, 1 KB each: more than the users that are active at one gateway at a time
	maxUserLine = 4096    // octets of one line of a users file
	maxUsers    = 1 << 20 // lines of a users file

	dirMode  = 0o700
	keyMode  = 0o600
	certMode = 0o644
)
