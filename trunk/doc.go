// Package trunk is what a gateway knows of the PBXs and providers behind it: which numbers lead to which of them, written how, who may call
// there, and which requests come from there.
//
// A Plan is a pure value made of the configuration: patterns, routes, translations, the identification of sources. A Service is a Plan in
// force and what changes beside it: calls under way, caps, how targets are. The proxy asks the Service through the interface proxy.Trunks; the
// gateway plugs one into the other. Nothing here blocks.
package trunk
