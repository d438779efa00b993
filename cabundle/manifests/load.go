package manifests

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// MaxFileBytes is how large a file may be.
const MaxFileBytes = 10 << 20

// standardInput is what messages call "-".
const standardInput = "standard input"

// extensions are those of the files that are read of a folder.
var extensions = []string{".yaml", ".yml", ".json"}

// Load reads paths: files, folders, and "-", which is stdin. Of a folder the files that end in .yaml, .yml and .json are read, with
// recursive also those of the folders in it. notes say what was passed over. It is an error if there is no object at all, so that a
// pipe that has broken is noticed.
func Load(paths []string, recursive bool, stdin io.Reader) (objects []Object, notes []string, err error) {
	names := slices.Clone(paths)
	for i, path := range paths {
		if path == "-" {
			names[i] = standardInput
			found, err := load(standardInput, stdin)
			if err != nil {
				return nil, nil, err
			}
			objects = append(objects, found...)
			continue
		}
		files, skipped, err := filesOf(path, recursive)
		if err != nil {
			return nil, nil, err
		}
		if skipped > 0 {
			notes = append(notes, fmt.Sprintf("the folders in %s are passed over: -R reads them, too", path))
		}
		for _, file := range files {
			found, err := loadFile(file)
			if err != nil {
				return nil, nil, err
			}
			objects = append(objects, found...)
		}
	}
	if len(objects) == 0 {
		return nil, nil, fmt.Errorf("there is no object of Kubernetes in %s", strings.Join(names, ", "))
	}
	return objects, notes, nil
}

// filesOf returns path, or the files of a folder in the order of their names; skipped is how many folders in it are not read.
func filesOf(path string, recursive bool) (files []string, skipped int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, fileError(path, err)
	}
	if !info.IsDir() {
		return []string{path}, 0, nil
	}
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fileError(file, err)
		case entry.IsDir() && file != path && !recursive:
			skipped++
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains(extensions, strings.ToLower(filepath.Ext(file))):
			files = append(files, file)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s is a folder without files that end in %s", path, strings.Join(extensions, ", "))
		if skipped > 0 {
			err = fmt.Errorf("%w; -R reads the folders in it, too", err)
		}
	}
	return files, skipped, err
}

func loadFile(path string) ([]Object, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer file.Close()
	return load(path, file)
}

func load(name string, from io.Reader) ([]Object, error) {
	text, err := io.ReadAll(io.LimitReader(from, MaxFileBytes+1))
	if err != nil {
		return nil, fileError(name, err)
	}
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("%s is larger than the %d MiB that a file may have", name, MaxFileBytes>>20)
	}
	return Parse(name, text)
}

// fileError says what is wrong with a file, without the name of the system call.
func fileError(path string, err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist", path)
	}
	return fmt.Errorf("%s cannot be read: %w", path, err)
}
