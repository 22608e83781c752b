package proof

// Implementation limits.
const (
	MaxSize         = 1 << 20 // octets of a file: a record of 64 gateways with certificates of RSA takes a fifth
	maxValues       = 64
	maxCertificates = 128
	maxReplicas     = 16
)
