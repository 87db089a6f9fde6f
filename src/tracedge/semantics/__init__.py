"""Where semantic maps come from: files of any tool; what their classes are called here."""
