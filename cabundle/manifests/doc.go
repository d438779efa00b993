// Package manifests reads what is to be applied in place of what is there: files of YAML or JSON, as kubectl and Helm write them. From
// them it makes what package survey makes of a cluster, by the same rules, without asking one.
//
//	Load     reads files, folders and standard input
//	Parse    reads one text; it is pure
//	Survey   judges the targets among objects, by the Secrets, Certificates and CABundles among them
//
// Templates are not rendered, and nothing that an API server would refuse beside YAML, base64 and what stands twice is noticed.
package manifests
